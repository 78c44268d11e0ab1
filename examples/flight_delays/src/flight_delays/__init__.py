"""Will this flight arrive 15 or more minutes late, judged at its scheduled departure?"""
