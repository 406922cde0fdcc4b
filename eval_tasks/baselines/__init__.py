"""HEAR modules without any training: the honest floor of every table."""
