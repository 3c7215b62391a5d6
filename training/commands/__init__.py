"""What the verbs of training/cli/ do: from options to a result. Modules are imported once one of their verbs runs."""
