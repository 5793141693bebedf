"""The lab's scenes: each module proves one part of what dunlin promises, on the real binary."""
