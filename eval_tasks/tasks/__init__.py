"""What a task is and where it comes from: registry, task folder, check, download, archives, resample."""
