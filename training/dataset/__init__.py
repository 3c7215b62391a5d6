"""A dataset: a folder of tables (JSONL, CSV or Parquet, one schema) and pictures; docs/dataset.md is its description.

rows       the schema, a row type a table
formats    a table's file, row by row
rejects    bad rows: stop at the first, or list them
checks     a row against the tables before it and what is stored
folder     all tables of a folder, checked against one another
arrays     a folder as the arrays that training works on
writing    tables of a folder to be
"""
