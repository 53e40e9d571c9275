"""What the tests of training share."""

from support.recipes import one_thread, small_examples

__all__ = ["one_thread", "small_examples"]
