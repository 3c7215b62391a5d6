"""The manners of both command lines, which are tables of verbs: help, completion, JSON, colours, errors, exit statuses.

statuses    how a command can end
result      what it tells in the end: a line for people, or JSON
verbs       a verb and what belongs to it; all of a program as one argparse parser, without what the verbs import
options     options of a settings model, and what the environment says
faults      errors as one line
terminal    what is written where, and its colour
running     from the arguments to the exit status
completion  scripts for shells
"""
