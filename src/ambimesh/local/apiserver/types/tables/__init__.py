"""The fields of every kind, in the language of ``types/language.py``, a table for each topic."""
