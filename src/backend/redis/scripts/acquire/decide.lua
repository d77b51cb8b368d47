-- What is done for each limit whatever its algorithm, and the decision over all of them.

---- fitting: calls of cost one that this limit admits
if remaining$ < 0 then remaining$ = 0 end
local calls$ = remaining$
if weight$ > 1 then calls$ = math.floor(remaining$ / weight$) end
if calls$ < fitting then fitting = calls$ end

---- decide
local taken, asked = 0, 0
if banned == 0 then
  if cost <= fitting then
    taken = cost
  elseif up_to == 1 then
    taken = fitting
  end
end
-- What a caller is told to wait for: what it asked for, or with 'up to' one call.
local denied = false
if taken == 0 and cost > 0 then
  if up_to == 1 then asked = 1 else asked, denied = cost, true end
end

---- take
units = taken * weight$

---- report: how long to wait for one more, and for what was asked for
if taken > 0 and weight$ > 1 then
  calls$ = math.floor(remaining$ / weight$)
elseif taken > 0 then
  calls$ = remaining$
end
local reset$, retry$ = -1, 0
units = (calls$ + 1) * weight$
if units <= capacity$ then
---- reset
  reset$ = wait
end
units = asked * weight$
if units > capacity$ then
  retry$ = -1
elseif units > remaining$ then
---- retry
  retry$ = wait
end
