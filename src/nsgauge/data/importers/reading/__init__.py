"""From files to records: tables of every kind, archives, pictures, messages."""
