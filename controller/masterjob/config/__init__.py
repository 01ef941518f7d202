"""What people wrote: files with their lines, fields, and settings with where each value came from.

What must not be here: what follows from a setting.
"""
