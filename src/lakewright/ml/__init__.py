"""Machine learning with no server: profiles and drift of any Arrow data, with the mathematics in plain sight.

frames      Arrow data opened in DuckDB with bounded memory
distances   how far two histograms are apart, and how far chance alone would put them
shapes      two columns as two comparable histograms
drift       which columns changed, how much, and whether that is more than chance
profile     what a table looks like: counts, nulls, quantiles, distincts
"""
