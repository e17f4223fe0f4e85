"""Messages: accepted, handed over, reported, told; what each file does is one stop of their walk."""
