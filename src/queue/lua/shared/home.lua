-- Where a line waits: in TODO, where any worker may take it, or in WAITING, if it has needs, which only workers of ours honour.

local function home(line) return string.find(line, '^%a+,') and WAITING or TODO end

local function is_waiting(line) return redis.call('HEXISTS', home(line), line) == 1 end

-- How many wait, the stop command included.
local function waiting_total() return redis.call('HLEN', TODO) + redis.call('HLEN', WAITING) end

-- Of many lines, in order: a value for each that waits, false for each that does not.
local function waiting_of(lines)
  local apart, at = {}, {}
  for i, line in ipairs(lines) do
    if home(line) == WAITING then apart[#apart + 1], at[#at + 1] = line, i end
  end
  if #apart == #lines then return get_all(WAITING, lines) end
  local values = get_all(TODO, lines)
  for k, value in ipairs(get_all(WAITING, apart)) do values[at[k]] = value end
  return values
end

-- Adds lines, or takes them away, wherever each waits.
local function wait_for(line) redis.call('HSET', home(line), line, '') end
local function no_longer_wait(lines)
  local plain, apart = {}, {}
  for _, line in ipairs(lines) do
    local list = home(line) == WAITING and apart or plain
    list[#list + 1] = line
  end
  bulk('HDEL', TODO, plain)
  bulk('HDEL', WAITING, apart)
end
