"""What people look at: static HTML reports."""
