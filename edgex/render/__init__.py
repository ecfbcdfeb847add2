"""What commands found, shown: JSON documents, tables, and plots in the terminal."""
