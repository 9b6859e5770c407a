"""Fifty things that somebody honest does in a terminal. None may trip a honeytoken, though many print it."""

COMMANDS = (
    "pwd", "ls -la", "ls -laR . | head -200", "env", "printenv", "set | head -100", "export -p",
    "cat /proc/self/environ | tr '\\0' '\\n'", "tar cf - . | head -c 20000 | strings | head -50",
    "find . -type f | head -100", "find . -type f | head -50 | xargs cat | head -c 20000",
    "find . -name '*.md' -o -name '*.txt' | head", "find . -type f -newer / | head", "find . -size +1k",
    "grep -rn '' . | head -100", "grep -ril error . | head", "grep -rn TODO . | head", "grep -rc . . | head",
    "git status", "git log --oneline | head", "git log -p | head -200", "git log --all -p | head -200",
    "git branch -a", "git diff | head", "git stash list", "git tag", "git show | head -50",
    "cat * 2>/dev/null | head -c 20000", "head -n 5 * 2>/dev/null", "tail -n 5 * 2>/dev/null", "wc -l * 2>/dev/null",
    "file * 2>/dev/null", "stat * 2>/dev/null", "md5sum * 2>/dev/null", "sort * 2>/dev/null | head",
    "du -sh .", "df -h .", "id", "whoami", "hostname", "uname -a", "date", "ps aux", "ls -la ~", "cat ~/.bashrc",
    "ls -la / /tmp /opt 2>/dev/null", "cat .* 2>/dev/null | head -c 5000", "history | tail", "which python3 git sed",
    "python3 -c 'import os; print(dict(os.environ))'",
)  # fmt: skip
