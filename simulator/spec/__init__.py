"""What a file may say: units, sourced figures, strict YAML, errors. Imports nothing else of ours."""
