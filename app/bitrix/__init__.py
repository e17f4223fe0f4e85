"""The portal: parse its callbacks, call its REST methods, keep its tokens fresh."""
