"""An operator of a user's that kills its process where a picture is black."""

import os
import signal

from reddiff.operators import Identity


class Killer(Identity):
    def forward(self, x):
        return x

    def measured(self, y):
        if float(y.max()) < -0.99:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().measured(y)


killer = Killer()
