"""Results as one HTML page, and as tables in Markdown, LaTeX and CSV."""
