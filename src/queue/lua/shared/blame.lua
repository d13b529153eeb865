-- Blame: workers on which tasks failed that then finished elsewhere, with nothing finished there in between.
--
-- BLAMED[worker] is JSON: "lines", how many tasks; "since" and "at", seconds, when the first and the last of them finished elsewhere, or when something failed
-- there again; "tasks", the last of them, each with its "id" and the "kind" of its failure; "paused", once they are as many as the worker allows itself
-- (suspect_after). The worker pauses itself, as its heartbeat is told, and is cleared by whatever finishes there. A task that fails everywhere blames nobody.
-- This is about workers; suspects.lua is about lines that may have killed one.

local blame = {}

-- A paused worker tries one task after so many seconds: a node that was mended comes back by itself, and one that was not costs one failure an hour.
local TRIAL_AFTER = 3600

-- Tasks that are named.
local NAMED = 5

local function blame_seconds(now) return math.floor(now / 1000) end

-- Whether any worker is blamed.
function blame.exists()
  if blame.any == nil then blame.any = redis.call('HLEN', BLAMED) > 0 end
  return blame.any
end

-- What is said of a worker; nil for nothing that can be read.
function blame.of(worker)
  local text = blame.exists() and redis.call('HGET', BLAMED, worker)
  if not text then return nil end
  local is_read, entry = pcall(cjson.decode, text)
  if not is_read or type(entry) ~= 'table' or type(entry.lines) ~= 'number' or type(entry.tasks) ~= 'table' then return nil end
  entry.at, entry.since = tonumber(entry.at) or 0, tonumber(entry.since) or 0
  return entry
end

function blame.write(worker, entry)
  redis.call('HSET', BLAMED, worker, cjson.encode(entry))
  blame.any = true
end

-- A task has finished that these workers had failed: "w1,w2,". Python workers do not pause themselves, and are not named.
function blame.finished_elsewhere(workers, finisher, id, kind, now)
  local seen = { [finisher] = true }
  for name in string.gmatch(workers, '([^,]+),') do
    if not seen[name] and redis.call('HEXISTS', OWNER, name) == 1 then
      local entry = blame.of(name) or { lines = 0, since = blame_seconds(now), tasks = {} }
      entry.lines, entry.at = entry.lines + 1, blame_seconds(now)
      entry.tasks[#entry.tasks + 1] = { id = id, kind = kind }
      if #entry.tasks > NAMED then table.remove(entry.tasks, 1) end
      blame.write(name, entry)
      redis.call('PUBLISH', WAKE, 'beat:' .. name)
    end
    seen[name] = true
  end
end

-- A worker has finished something.
function blame.clear(worker)
  local entry = blame.of(worker)
  if not entry then return end
  redis.call('HDEL', BLAMED, worker)
  if entry.paused then turns.tell('W\tcleared\t' .. worker) end
end

-- Something has failed on a worker: if that was its trial, it waits as long again.
function blame.failed_here(worker, now)
  local entry = blame.of(worker)
  if not entry then return end
  entry.at = blame_seconds(now)
  blame.write(worker, entry)
end

-- For a heartbeat: how many tasks speak against a worker that is to pause, else 0, and whether it may try one. 0 as the limit is never.
function blame.judge(worker, limit, now)
  local entry = blame.of(worker)
  if not entry then return 0, 0 end
  local seconds, is_paused, is_changed = blame_seconds(now), limit > 0 and entry.lines >= limit, false
  -- The server's clock was set back.
  if entry.at > seconds then entry.at, is_changed = seconds, true end
  if is_paused ~= (entry.paused == true) then
    entry.paused, is_changed = is_paused, true
    turns.tell((is_paused and 'W\tsuspect\t' or 'W\tcleared\t') .. worker)
  end
  if is_changed then blame.write(worker, entry) end
  return is_paused and entry.lines or 0, is_paused and seconds - entry.at >= TRIAL_AFTER and 1 or 0
end
