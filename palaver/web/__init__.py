"""What the page is made of: the files that a browser reads, and Markdown as HTML that can be trusted."""
