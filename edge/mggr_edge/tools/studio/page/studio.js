/* The page requests frames, draws them, and sends changed settings to the server.
 *
 * The page sends one request for a frame at a time, so that no queue builds up. While the page is
 * hidden, it requests no frames. One image contains the frames before and after redirection.
 */

const DEG_PER_FACE_WIDTH = 25;
const MOST = { pitch_deg: 20, yaw_deg: 30 };
const STEP_DEG = 1, WIDE_STEP_DEG = 5;
const SILENT_S = 3;
const STEADY = 0.4; /* fraction of the distance to a face that its ring moves per frame */
const FORGET = 10; /* frames without a face after which its ring is removed */

const by = (id) => document.getElementById(id);
const canvas = by("canvas"), picture = by("picture"), pen = canvas.getContext("2d");

const REASONS = {
  "closed": "closed",
  "not clear": "blurred",
  "covered": "covered",
  "too small": "too far from the camera",
  "head turned": "head turned too far",
  "gaze too far": "gaze too far from the target",
  "on target": "already on target",
  "easing in": "fading in",
  "turned off": "turned off",
};

let settings = { pitch_deg: 0, yaw_deg: 0, strength: 1, is_on: true, overlay: false };
let bitmap = null, layout = null;
let wiped = 0.12; /* initial position of the slider: most of the frame shows the result */

/* Changed settings are shown at once. One request at a time sends the newest settings. */

let untold = null, isTelling = false;
let revision = 0; /* revision of the last request; facts with a smaller revision are outdated */

async function post(address, asked) {
  const answer = await fetch(address, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(asked),
  });
  const said = await answer.json();
  if (said.error) throw new Error(said.error);
  return said;
}

async function set(asked) {
  settings = { ...settings, ...asked };
  showSettings();
  untold = { ...untold, ...asked };
  if (isTelling) return;
  isTelling = true;
  try {
    while (untold) {
      const now = untold;
      untold = null;
      ({ revision } = await post("/settings", now));
    }
  } catch (error) {
    untold = null;
    console.error(error);
  }
  isTelling = false;
}

const bounded = (value, most) => Math.max(-most, Math.min(most, value));

function aimAt(pitch_deg, yaw_deg) {
  set({
    pitch_deg: Math.round(bounded(pitch_deg, MOST.pitch_deg) * 2) / 2,
    yaw_deg: Math.round(bounded(yaw_deg, MOST.yaw_deg) * 2) / 2,
  });
}

const degrees = (value) => `${Math.abs(value)}°`;

function inWords({ pitch_deg, yaw_deg }) {
  const parts = [];
  if (pitch_deg) parts.push(`${degrees(pitch_deg)} ${pitch_deg > 0 ? "up" : "down"}`);
  if (yaw_deg) parts.push(`${degrees(yaw_deg)} ${yaw_deg > 0 ? "right" : "left"}`);
  return parts.join(", ") || "into the camera";
}

const say = (element, text) => { if (element.textContent !== text) element.textContent = text; };
const signed = (value) => (value > 0 ? `+${value}°` : value < 0 ? `−${-value}°` : "0°");

function showSettings() {
  const where = inWords(settings);
  say(by("target"), where[0].toUpperCase() + where.slice(1));
  by("yaw").value = settings.yaw_deg;
  by("pitch").value = settings.pitch_deg;
  by("strength").value = Math.round(100 * settings.strength);
  say(by("yaw-said"), signed(settings.yaw_deg));
  say(by("pitch-said"), signed(settings.pitch_deg));
  say(by("strength-said"), `${Math.round(100 * settings.strength)} %`);
  by("is-on").checked = settings.is_on;
  say(by("is-on").nextElementSibling, settings.is_on ? "On" : "Off");
  by("overlay").checked = settings.overlay;
  by("camera").disabled = !settings.pitch_deg && !settings.yaw_deg;
  picture.classList.toggle("off", !settings.is_on);
  placeAims();
}

by("yaw").oninput = (event) => aimAt(settings.pitch_deg, event.target.valueAsNumber);
by("pitch").oninput = (event) => aimAt(event.target.valueAsNumber, settings.yaw_deg);
by("strength").oninput = (event) => set({ strength: event.target.valueAsNumber / 100 });
by("is-on").onchange = (event) => set({ is_on: event.target.checked });
by("overlay").onchange = (event) => set({ overlay: event.target.checked });
by("camera").onclick = () => aimAt(0, 0);

/* Frames before and after redirection, with a slider between them. */

function draw() {
  if (!bitmap) return;
  const [width, height] = layout.size;
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
    picture.style.setProperty("--shape", width / height);
  }
  const x = Math.round(wiped * width);
  if (x > 0) pen.drawImage(bitmap, 0, 0, x, height, 0, 0, x, height);
  if (x < width) pen.drawImage(bitmap, layout.after_x + x, 0, width - x, height, x, 0, width - x, height);
}

function wipe(share) {
  wiped = Math.max(0, Math.min(1, share));
  by("wipe").style.left = `${100 * wiped}%`;
  for (const [side, share] of [["before", wiped], ["after", 1 - wiped]]) {
    const chip = by("wipe").querySelector(`.${side}`);
    chip.classList.toggle("squeezed", share * picture.clientWidth < chip.offsetWidth + 20);
  }
  const grip = by("grip"), percent = Math.round(100 * wiped);
  grip.setAttribute("aria-valuenow", percent);
  grip.setAttribute("aria-valuetext", `${percent} % before, ${100 - percent} % after`);
  draw();
}

function dragged(element, { start, move, end }) {
  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    element.setPointerCapture(event.pointerId);
    start(event);
  });
  element.addEventListener("pointermove", (event) => {
    if (element.hasPointerCapture(event.pointerId)) move(event);
  });
  element.addEventListener("lostpointercapture", () => end());
}

const across = (event) => {
  const box = picture.getBoundingClientRect();
  return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
};

dragged(by("grip"), { start: () => {}, move: (event) => wipe(across(event).x), end: () => {} });
by("grip").addEventListener("keydown", (event) => {
  const steps = { ArrowLeft: -0.02, ArrowRight: 0.02, ArrowDown: -0.02, ArrowUp: 0.02, PageDown: -0.1, PageUp: 0.1 };
  const ends = { Home: 0, End: 1 };
  if (event.key in steps) wipe(wiped + steps[event.key]);
  else if (event.key in ends) wipe(ends[event.key]);
  else return;
  event.preventDefault();
});

/* A ring for each face. If the user drags the ring, the target of the eyes changes. */

const aims = new Map(); /* ID of a face -> its smoothed position and its elements */

function newAim(id) {
  const area = document.createElement("div"), ring = document.createElement("button");
  area.className = "face";
  ring.className = "aim";
  ring.type = "button";
  const label = document.createElement("span");
  ring.append(label);
  const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
  const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
  dot.setAttribute("r", 3);
  by("lines").append(line, dot);
  by("faces").append(area, ring);
  const aim = { id, area, ring, label, line, dot, place: null, held: null, unseen: 0 };
  for (const element of [area, ring]) {
    dragged(element, {
      start: (event) => hold(aim, event, element === ring),
      move: (event) => pull(aim, event),
      end: () => hold(aim, null),
    });
    element.addEventListener("dblclick", () => aimAt(0, 0));
  }
  ring.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? WIDE_STEP_DEG : STEP_DEG;
    const steps = { ArrowLeft: [0, -step], ArrowRight: [0, step], ArrowUp: [step, 0], ArrowDown: [-step, 0] };
    if (event.key in steps) {
      const [up, right] = steps[event.key];
      aimAt(settings.pitch_deg + up, settings.yaw_deg + right);
    } else if (event.key === "Home") aimAt(0, 0);
    else return;
    event.preventDefault();
  });
  return aim;
}

/* Keep the offset of the pointer from the centre of the ring, so that the ring does not jump. */
function hold(aim, event, isRing) {
  const isHeld = event !== null;
  aim.area.classList.toggle("held", isHeld);
  aim.ring.classList.toggle("held", isHeld);
  aim.held = null;
  if (!isHeld) return;
  aim.ring.focus({ preventScroll: true, focusVisible: false });
  const at = across(event), ring = ringOf(aim);
  if (aim.place.x < wiped) wipe(aim.place.x - aim.place.width); /* show the result of the drag */
  aim.held = isRing ? { x: at.x - ring.x, y: at.y - ring.y } : { x: 0, y: 0 };
}

function pull(aim, event) {
  if (!aim.held) return;
  const at = across(event), { x, y, width } = aim.place;
  const per_width = DEG_PER_FACE_WIDTH / width;
  aimAt(-(at.y - aim.held.y - y) / shape() * per_width, (at.x - aim.held.x - x) * per_width);
}

const shape = () => (layout ? layout.size[0] / layout.size[1] : 16 / 9);

/* Position of a ring as fractions of the frame, limited to the inside of the frame. */
function ringOf({ place: { x, y, width } }) {
  const { pitch_deg, yaw_deg } = settings, width_per = width / DEG_PER_FACE_WIDTH;
  const inside = (value) => Math.max(0.02, Math.min(0.98, value));
  return { x: inside(x + yaw_deg * width_per), y: inside(y - pitch_deg * width_per * shape()) };
}

/* If a face was lost for a moment, it gets another ID and keeps its ring. */
function adopt(face, orphans) {
  const aim = orphans.find(({ place: { x, y } }) => Math.hypot(x - face.x, y - face.y) < face.width);
  if (!aim) return newAim(face.id);
  orphans.splice(orphans.indexOf(aim), 1);
  aims.delete(aim.id);
  aim.id = face.id;
  return aim;
}

function placeFaces(faces) {
  const seen = new Set(faces.map((face) => face.id));
  const orphans = [...aims.values()].filter((aim) => !seen.has(aim.id));
  for (const face of faces) {
    if (!aims.has(face.id)) aims.set(face.id, adopt(face, orphans));
    const aim = aims.get(face.id), was = aim.place;
    aim.unseen = 0;
    const { x, y, width, height } = face;
    const near = was && Math.hypot(was.x - x, was.y - y) < width / 2;
    const steady = (old, now) => (near ? old + STEADY * (now - old) : now);
    aim.place = {
      x: steady(was?.x, x), y: steady(was?.y, y),
      width: steady(was?.width, width), height: steady(was?.height, height),
    };
  }
  for (const aim of orphans) {
    aim.unseen += 1;
    if (aim.unseen <= FORGET || aim.held) continue;
    for (const element of [aim.area, aim.ring, aim.line, aim.dot]) element.remove();
    aims.delete(aim.id);
  }
  placeAims();
}

function placeAims() {
  const text = inWords(settings);
  for (const aim of aims.values()) {
    const { x, y, width, height } = aim.place, ring = ringOf(aim);
    Object.assign(aim.area.style, {
      left: `${100 * x}%`, top: `${100 * y}%`, width: `${100 * width}%`, height: `${100 * height}%`,
    });
    Object.assign(aim.ring.style, { left: `${100 * ring.x}%`, top: `${100 * ring.y}%` });
    aim.ring.classList.toggle("low", ring.y < 0.12);
    const width_px = width * picture.clientWidth;
    aim.ring.style.setProperty("--ring", `${Math.max(14, Math.min(26, 0.22 * width_px))}px`);
    say(aim.label, text);
    aim.ring.setAttribute("aria-label", `Face ${aim.id}: target ${text}. Change it with the arrow keys.`);
    const ends = { x1: x, y1: y, x2: ring.x, y2: ring.y };
    for (const [name, share] of Object.entries(ends)) aim.line.setAttribute(name, `${100 * share}%`);
    aim.dot.setAttribute("cx", `${100 * x}%`);
    aim.dot.setAttribute("cy", `${100 * y}%`);
    const isAway = settings.pitch_deg !== 0 || settings.yaw_deg !== 0;
    aim.line.style.display = aim.dot.style.display = isAway ? "" : "none";
  }
}

/* Values of the frame and of the session. */

function stateOf({ strength, reason }) {
  const why = REASONS[reason] ?? reason;
  if (reason === "turned off") return ["calm", "turned off"];
  if (strength === 0 && reason === "on target") return ["calm", why];
  if (strength === 0) return ["none", `unchanged: ${why ?? "unknown reason"}`];
  if (reason === null) return ["full", "redirected"];
  return ["part", reason === "easing in" ? why : `partly: ${why}`];
}

function gazeInWords(gaze_deg) {
  if (gaze_deg === null) return "no estimate";
  const [pitch_deg, yaw_deg] = gaze_deg.map(Math.round);
  return inWords({ pitch_deg, yaw_deg });
}

function showEyes(faces, isCalibrating) {
  const state = (eye) => (isCalibrating ? ["calm", "calibrating"] : stateOf(eye));
  const rows = faces.flatMap((face) => {
    const [left, right] = [...face.eyes].sort((a, b) => a.x - b.x).map(state);
    const looked = gazeInWords(face.gaze_deg);
    if (faces.length === 1) {
      return [["Estimated gaze", "calm", looked], ["Eye on the left", ...left], ["Eye on the right", ...right]];
    }
    const eyes = left.join() === right.join() ? [["both eyes", ...left]]
      : [["eye on the left", ...left], ["eye on the right", ...right]];
    return [[`Face ${face.id}, estimated gaze`, "calm", looked], ...eyes];
  });
  const list = by("eyes");
  const lines = rows.length ? rows : [["No face detected.", "calm", ""]];
  while (list.children.length > lines.length) list.lastChild.remove();
  lines.forEach(([name, kind, text], n) => {
    if (!list.children[n]) {
      const row = document.createElement("li");
      row.append(document.createElement("span"), document.createElement("span"));
      list.append(row);
    }
    const [label, state] = list.children[n].children;
    say(label, name);
    say(state, text);
    if (state.className !== `state ${kind}`) state.className = `state ${kind}`;
  });
}

function showSpeed({ per_s, stages_ms }) {
  say(by("per-s"), per_s ? `${per_s.toFixed(0)} frames per second` : "");
  const list = by("stages"), stages = Object.entries(stages_ms);
  while (list.children.length > stages.length) list.lastChild.remove();
  stages.forEach(([name, ms], n) => {
    if (!list.children[n]) {
      const row = document.createElement("div");
      row.append(document.createElement("dt"), document.createElement("dd"));
      list.append(row);
    }
    const [label, value] = list.children[n].children;
    say(label, name);
    say(value, `${ms.toFixed(1)} ms`);
  });
}

const percent = (share) => `${Math.round(100 * share)} %`;
const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;
let requestFailure = null; /* error of the last request to calibrate */

function calibrationInWords({ running, error_deg, path, offset_deg }, problem) {
  if (running) return "Look into the lens and turn your head slowly, to both sides and a little up and down.";
  if (problem) return `Calibration failed: ${problem}.`;
  if (path === null) return "Calibration needs a camera with a person in front of it, not a file.";
  if (error_deg) {
    const [before, after] = error_deg.map((value) => value.toFixed(1));
    return `Calibrated: the mean gaze error was ${before}° before correction, and is ${after}° after correction.`;
  }
  if (offset_deg) {
    const [pitch_deg, yaw_deg] = offset_deg.map((value) => Math.round(10 * value) / 10);
    const offset = pitch_deg || yaw_deg ? inWords({ pitch_deg, yaw_deg }) : "0°";
    return `A profile is in use: ${offset} is subtracted from the estimated gazes.`;
  }
  return "Calibration measures your personal gaze offset. Press the button, then look into the lens "
    + "and turn your head slowly for five seconds.";
}

function showCalibration(calibration) {
  const { running, seconds_left, share, covered, failure, notes, path } = calibration;
  const problem = running ? null : failure ?? requestFailure, said = by("calibration-said");
  say(said, calibrationInWords(calibration, problem));
  said.title = path === null ? "" : `Profile: ${path}`;
  said.classList.toggle("failed", problem !== null);
  by("calibrate").disabled = path === null || running;
  by("calibration-progress").hidden = !running;
  by("calibration-time").value = share;
  say(by("calibration-left"), `${Math.ceil(seconds_left)} s`);
  for (const [name, part] of [["covered-pitch", covered[0]], ["covered-yaw", covered[1]]]) {
    by(name).value = part;
    say(by(`${name}-said`), percent(part));
  }
  by("calibration-note").hidden = running || problem !== null || !notes.length;
  say(by("calibration-note"), notes.map(sentence).join(" "));
}

by("calibrate").onclick = async () => {
  requestFailure = null;
  try {
    await post("/calibrate", {});
  } catch (error) {
    requestFailure = error.message;
  }
};

function notice(text) {
  by("notice").hidden = !text;
  say(by("notice"), text ?? "");
  by("light").className = `light ${text ? "lost" : "live"}`;
}

function showSource({ source, failure }) {
  say(by("source"), source.name);
  if (source.lost) notice(source.lost);
  else if (!bitmap) notice("Waiting for the first frame");
  else if (source.silent_s > SILENT_S) notice(`No frame for ${source.silent_s.toFixed(0)} seconds`);
  else notice(failure ? `Frame not redirected because of an error: ${failure}` : null);
}

function show(facts) {
  const isBusy = untold || isTelling || [...aims.values()].some((aim) => aim.held);
  if (!isBusy && facts.revision >= revision) {
    revision = facts.revision;
    settings = facts.settings; /* another page may have changed the settings */
    showSettings();
  }
  showSource(facts);
  showSpeed(facts);
  showCalibration(facts.calibration);
  if (facts.faces) {
    placeFaces(facts.faces);
    showEyes(facts.faces, facts.calibration.running);
  }
}

/* Request one frame after the other while the page is open. */

const painted = () => new Promise((done) => requestAnimationFrame(done));
const SILENT = "The studio does not respond. Start it again, then open the address that it prints.";
const STARTED_AGAIN = "The studio was restarted. Open the address that it prints.";
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

async function next(number) {
  const answer = await fetch(`/frame?after=${number}`);
  if (answer.status === 403) throw new Error(STARTED_AGAIN);
  if (!answer.ok) throw new Error(`the server responded with status ${answer.status}`);
  const facts = JSON.parse(answer.headers.get("Frame-Facts"));
  if (answer.status === 200) {
    const fresh = await createImageBitmap(await answer.blob());
    bitmap?.close();
    [bitmap, layout] = [fresh, facts];
    draw();
  }
  show(facts);
  return facts.number ?? number;
}

async function follow() {
  for (let number = 0; ;) {
    try {
      number = await next(number);
    } catch (error) {
      number = revision = 0; /* a restarted server counts from the beginning */
      notice(error.message === STARTED_AGAIN ? STARTED_AGAIN : SILENT);
      await pause(1000);
    }
    await painted(); /* browsers paint no frames while the page is hidden */
  }
}

window.addEventListener("resize", () => wipe(wiped));
wipe(wiped);
showSettings();
follow();
