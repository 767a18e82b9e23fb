"""What every other package may use: errors, units, text, time, files, HTTP. Imports nothing else of hpcfrugal."""
