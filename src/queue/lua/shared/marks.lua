-- Marks: an operator's order for a task that runs.
--
-- MARKS[line] = OP|WORKER|TOKEN|ID|CLASS|SCORE|RECORD. OP is requeue, cancel or purge. CLASS is "MEM:CPU:NEEDS:", SCORE is without a sequence, RECORD is the
-- evidence of the attempt that is cut short, or "". The task stays in IN_PROGRESS, claimed, until its process is known to be dead, so that no second one starts
-- beside it. Then carry_out (orders.lua) moves it. REVOKED[line] = TOKEN tells its worker.

local function mark_parts(value) return string.match(value, '^(%a+)|([^|]*)|([^|]*)|([^|]*)|([^|]*)|([^|]*)|(.*)$') end

-- The mark of the claim with this token, if there is one; any mark of this worker's where there is no claim (token is nil).
local function mark_of(line, worker, token)
  local mark = redis.call('HGET', MARKS, line)
  if not mark then return nil end
  local _, holder, marked = mark_parts(mark)
  if holder == worker and (token == nil or marked == token) then return mark end
end
