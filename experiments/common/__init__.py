"""What the studies share: flags, tables, plots, published numbers. No study is known here."""
