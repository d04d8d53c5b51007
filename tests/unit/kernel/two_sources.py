"""Two kernel sources of three files, and a series of two patches of which the later source does not take the second."""

from __future__ import annotations

FIRST = "".join(f"line {number}\n" for number in range(1, 30))
OLD = {"kernel/first.c": FIRST, "drivers/second.c": FIRST, "README": "a kernel\n"}
# What a patch that changes line 20 of first.c finds changed, once lines were added and the next one was written anew.
NEW = {**OLD, "kernel/first.c": "".join(["new\n"] * 5) + FIRST.replace("line 21\n", "line twenty-one\n")}
HUNK = "@@ -{0},4 +{4},5 @@\n line {0}\n line {1}\n+added\n line {2}\n line {3}\n"
PATCHES = {
    "0001-second.patch": "--- a/drivers/second.c\n+++ b/drivers/second.c\n" + HUNK.format(2, 3, 4, 5, 2),
    "0002-first.patch": "--- a/kernel/first.c\n+++ b/kernel/first.c\n"
    + HUNK.format(5, 6, 7, 8, 5)
    + HUNK.format(19, 20, 21, 22, 20)
    + "--- /dev/null\n+++ b/kernel/third.c\n@@ -0,0 +1 @@\n+made\n",
}
