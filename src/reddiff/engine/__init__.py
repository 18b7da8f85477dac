"""Restore sets of pictures that are too large for one process or one sitting, in shards."""
