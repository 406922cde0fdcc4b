"""Raw data sets to task folders: each adapter says which clips go where, under which labels."""
