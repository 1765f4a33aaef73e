"""fetch.py URL... - urllib; prints the SHA-256 of each answer"""

import hashlib
import sys
import urllib.request

for url in sys.argv[1:]:
    with urllib.request.urlopen(url) as answer:
        print(answer.status, hashlib.sha256(answer.read()).hexdigest())
