-- As fixed.lua, but for where a window begins; offset$ is in ms.

---- fresh
local start$ = now - (now - offset$) % window$
