"""Reading bash without running it, held against bash itself."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from workloads.importers.shell import UNKNOWN, read_script, resplit

SCRIPTS = {
    "arrays": 'A=(--a 1 "two words" --b)\nA+=(--c)\nrun "${A[@]}" ${A[@]} $A "${A[*]}" ${A[*]}',
    "strings": 'A="--a 1 \\\n  --b 2"\nB=\'--c $A\'\nrun $A "$A" $B',
    "defaults": 'run ${X:-8} ${X:-} ${Y:-a b} "${Y:-a b}" ${X-3}',
    "quoted defaults": 'A=${X:-"big"}\nB=${A:-"small"}\nif [ $A = big ]; then N=1; else N=2; fi\nrun $A $B ${Y:-"vw"} $N',
    "arithmetic": "N=4\nM=$((N * 8 / 3))\nrun $M $((M+N)) $(( (N+1)*2 ))",
    "nested": "A=1\nB=${A}2\nC=x${B}y\nrun $C ${C}z ${UNSET:-${B}}",
    "comments": "A=1 # B=2\nrun $A '#' a#b # no",
    "continued": "run a \\\n  b \\\n  c",
    "empty": 'E=\nrun a $E b "$E" c',
    "quotes": "run 'a b' \"c d\" e\\ f 'g'\"h\"",
    "here": "cat <<EOF >/dev/null\nrun --not this\nEOF\nrun a",
    "exports": "export A=1 B=2\nlocal_name=3\nrun $A $B $local_name",
    "redirections": "run a 2>/dev/null b > /dev/null c",
    "prefix": "A=1 run x\nB=2\nrun ${B}",
    "branch": "M=big\nif [ $M = small ]; then N=1\nelif [ $M = big ]; then\n N=2\n run in\nelse N=3; fi\nrun $N",
    "else": 'M=\nif [[ -n "$M" ]]; then N=1; else N=2; fi\nif [ -z "$M" ] && [ 3 -gt 2 ]; then A=(--x); fi\nrun $N "${A[@]}"',
    "nested branches": "T=4\nif [ $T -gt 1 ]; then if [ $T -eq 4 ] || [ $T = 8 ]; then N=7; else N=8; fi; else N=9; fi\nrun $N",
    "not taken": "if [ a != a ]; then run never; A=1; fi\nA=${A:-2}\nrun $A",
    "said and done": 'C="run a b"\necho $C >/dev/null\neval $C',
}


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is the oracle")
def test_words_are_those_that_bash_would_pass(name: str) -> None:
    """The arguments of every run are, word by word, the ones that bash passes."""
    shell = 'run() { for word in "$@"; do printf "%s\\0" "$word"; done >&3; printf "\\n" >&3; }\n' + SCRIPTS[name]
    answer = subprocess.run(["bash", "-c", f"exec 3>&1\n{shell}"], capture_output=True, check=True, text=True)
    expected = [line.rstrip("\0").split("\0") if line else [] for line in answer.stdout.splitlines()]
    found = [words[1:] for _, words in read_script(SCRIPTS[name]).commands if words[0] == "run"]
    # An empty word at the end is lost between NULs; none of these scripts ends a command with one.
    assert found == expected


@pytest.mark.parametrize(
    ("script", "name"),
    [
        ("run $(date)", "$(date)"),
        ("run `date`", "`date`"),
        ("run $1", "1"),
        ("run ${A%x}", "${A%x}"),
        ("run $((B+1))", "$((B+1))"),
        ("if true; then A=1; else A=2; fi\nrun $A", "A"),
        ("if [ $X = 1 ]; then A=1; elif [ 1 = 1 ]; then A=2; fi\nrun $A", "A"),
        ("if [ 1 = 1 ] && grep x y; then A=1; fi\nrun $A", "A"),
        ("for i in 1 2; do if [ 1 = 1 ]; then A=1; fi; done\nrun $A", "A"),
        ("case $x in a) A=1;; esac\nrun $A", "A"),
        ("while true; do A=1; done\nrun $A", "A"),
        ("f() {\nA=1\n}\nrun $A", "A"),
        ("true || A=1\nrun $A", "A"),
    ],
)
def test_what_depends_on_the_world_is_marked(script: str, name: str) -> None:
    """The word says what it does not know, and there is a reason."""
    read = read_script(script)
    word = next(words[-1] for _, words in reversed(read.commands) if words[0] == "run")
    match = UNKNOWN.fullmatch(word)
    assert match is not None
    assert match.group(1) == name
    assert read.reasons[name]


def test_defined_values_win() -> None:
    """A value from outside replaces the script's, wherever that is set."""
    assert read_script("A=1\nif x; then A=2; fi\nrun $A", {"A": "3"}).commands[-1] == (3, ["run", "3"])


def test_a_command_in_quotes_is_split() -> None:
    """bash -c "..." holds the real command."""
    assert resplit(["bash", "-c", "torchrun x.py --tp 2"]) == ["bash", "-c", "torchrun", "x.py", "--tp", "2"]
