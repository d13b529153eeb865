-- Where a line waits: in TODO, where any worker may take it, or in WAITING, if it has needs, which only workers of ours honour.

local function home(line) return string.find(line, '^%a+,') and WAITING or TODO end

local function is_waiting(line) return redis.call('HEXISTS', home(line), line) == 1 end

-- Whether nothing with needs waits: known once waiting_total was called, and true only in a script that adds none.
local none_apart

-- Moves a line that others have written where such lines do not wait to where they do: added there first.
local function bring_home(line)
  local elsewhere = home(line) == WAITING and TODO or WAITING
  if redis.call('HEXISTS', elsewhere, line) == 0 then return end
  redis.call('HSET', home(line), line, '')
  redis.call('HDEL', elsewhere, line)
end

-- How many wait, the stop command included.
local function waiting_total()
  local apart = redis.call('HLEN', WAITING)
  none_apart = apart == 0
  return redis.call('HLEN', TODO) + apart
end

-- Of many lines, in order: a value for each that waits, false for each that does not.
local function waiting_of(lines)
  if none_apart then return get_all(TODO, lines) end
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
  if none_apart then
    bulk('HDEL', TODO, lines)
    return
  end
  local plain, apart = {}, {}
  for _, line in ipairs(lines) do
    local list = home(line) == WAITING and apart or plain
    list[#list + 1] = line
  end
  bulk('HDEL', TODO, plain)
  bulk('HDEL', WAITING, apart)
end
