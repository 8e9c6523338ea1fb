# SPDX-License-Identifier: Apache-2.0
"""What tests/model/run finds, and the tests of it (pytest) use the harness of the mount tests."""
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "mount")]
