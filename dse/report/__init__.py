"""Reports: what was found, in Markdown, figures and tables."""
