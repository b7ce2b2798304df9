"""Where weights come from: finding a model's folder, reading its files, writing new ones."""
