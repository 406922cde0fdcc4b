"""A HEAR module on tasks: heareval's runners as processes, and what becomes of them."""
