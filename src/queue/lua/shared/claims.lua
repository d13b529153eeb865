-- Claims: which worker may act under a name, and what is kept of each line that it holds.

local function is_owner(worker, instance) return redis.call('HGET', OWNER, worker) == instance end

-- CLAIMS[line] = TOKEN|ATTEMPT|STARTED|SCORE|MS; started is 0 for one claimed ahead, 2 for one with a slot, 1 once a heartbeat has told of its start; MS is
-- when it was claimed.
local function claim_parts(value) return string.match(value, '^([^|]*)|(%d+)|(%d)|([^|]*)|?(%d*)$') end

local function claim_text(token, attempt, started, score, ms)
  return token .. '|' .. attempt .. '|' .. started .. '|' .. score .. '|' .. ms
end
