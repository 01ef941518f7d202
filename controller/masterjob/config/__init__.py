"""What people write: files with their lines, fields with their place, settings with their origin.

    settings.py   option > environment > config file > default, for each parameter
    location.py   the URL of the database, or the file that it is in
    fields.py     the one reader of fields and the parsers of their values
    documents.py  YAML and JSON files as plain values that know their lines
    redact.py     database URLs and names without passwords

What must not be here: the effect of a setting.
"""
