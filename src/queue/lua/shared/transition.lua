-- The moves of a task into in_progress_tasks and out of it.
--
-- Only this file writes IN_PROGRESS and the claims of workers, so that a counter or a limit (limits.lua) that must follow a task has one place to hook in. Each
-- move adds first and removes last: where a script stops half-way, a line stands in two places, never in none.

-- Moves lines from where they wait into progress: claims[i] is this worker's claim of lines[i]. A line that waits nowhere comes into progress as well
-- (reassert.lua). The caller takes the lines out of the index afterwards.
local function enter_progress(worker, lines, claims)
  if not none_apart then limits.enter(worker, lines) end
  local claim_of, worker_of = {}, {}
  for i, line in ipairs(lines) do
    claim_of[2 * i - 1], claim_of[2 * i] = line, claims[i]
    worker_of[2 * i - 1], worker_of[2 * i] = line, worker
  end
  bulk('HSET', CLAIMS, claim_of)
  bulk('HSET', IN_PROGRESS, worker_of)
  shares.enter(lines)
  no_longer_wait(lines)
end

-- Replaces the claim of a line that this worker has in progress.
local function renew_claim(line, claim) redis.call('HSET', CLAIMS, line, claim) end

-- Lets go of lines in progress, of which nothing runs any more, after they were added wherever they go. held is the key of their worker's claims, nil where
-- nobody had claimed them.
local function leave_progress(lines, held)
  bulk('HDEL', IN_PROGRESS, lines)
  shares.leave(lines)
  if held then bulk('HDEL', held, lines) end
  limits.leave(lines)
end

-- Drops the claim of a line that has left in_progress_tasks without its worker, or stands there under another's name.
local function drop_claim(line, held) redis.call('HDEL', held, line) end

-- Adds a line to where it waits and to the index, and asks for a worker: workers are those that have failed it, or nil; then it waits delay_ms and is left to
-- others for avoid_ms. giver is a worker that gives it back and needs not be woken for it, or nil.
local function put_back(line, class, score, workers, now, delay_ms, avoid_ms, giver)
  wait_for(line)
  index_waiting(class, line, score, workers, now, delay_ms, avoid_ms)
  want_worker(lane_of(class, line, worker_set((workers or '') .. (giver and giver .. ',' or ''))))
end
