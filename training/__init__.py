"""The offline side: from the network in SQL to an exported, verified and published model."""
