// What pages can do without it, and do faster with it: every link and form works as it is.
"use strict";
