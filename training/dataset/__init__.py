"""A dataset: a folder of tables (JSONL, CSV or Parquet, one schema) and pictures; docs/dataset.md is its description.

rows       the schema, a row type a table
formats    a table's file, row by row
rejects    bad rows: stop at the first, or list them
folder     all tables of a folder, checked against one another
arrays     a folder as the arrays that training works on
"""
