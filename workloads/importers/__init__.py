"""What other tools write, read into our own files: Hugging Face configurations and Megatron-LM launches.

An importer says of every key or flag what it made of it, and guesses nothing: what could change a shape and is not known
is refused by name.
"""
