"""Noise schedules: the class `Schedule`, and the families used in papers."""

from reddiff.schedules.families import constant as constant
from reddiff.schedules.families import cosine as cosine
from reddiff.schedules.families import even as even
from reddiff.schedules.families import flow as flow
from reddiff.schedules.families import geometric as geometric
from reddiff.schedules.families import held as held
from reddiff.schedules.families import karras as karras
from reddiff.schedules.families import vp as vp
from reddiff.schedules.families import vp_late_within as vp_late_within
from reddiff.schedules.families import vp_within as vp_within
from reddiff.schedules.schedule import SLACK as SLACK
from reddiff.schedules.schedule import Schedule as Schedule
from reddiff.schedules.schedule import in_words as in_words
from reddiff.schedules.schedule import preset as preset
