"""SQL over governed tables: parse, authorise, rewrite, run."""
