"""The online side: encodes new image tweets and answers which ones a user will retweet. Imports no torch."""
