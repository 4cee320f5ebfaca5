/* The page: its state, controls, status, link and picture. Also `window.portrait`, for scripts and tests:

     portrait.state()      the settings: learning_rate, target_norm, dimension, width (a number, or "inf"),
                           steps, seed, plane ("state", "universal" or "curvature")
     portrait.set({...})   change some of them and redraw; throws RangeError at a value that cannot be used
     portrait.data()       the numbers shown: mu, edge, divergence; `infinite` and `network` (null at infinite
                           width), each with the curves a, p, second_layer, loss, sharpness, ntk_sharpness,
                           residual_sharpness at every step (null from `diverged_step` on, -1 if there is none);
                           network.start, the weights drawn, rows (V; E along w*; E across it), one column a
                           neuron, over sqrt(N D); redraw_ms, what the last redrawing took
     portrait.network(seed, dimension, width)   the start of another network, as network.start
     portrait.picture()    a canvas with all three panels, as saved by "Save as PNG"
     portrait.link()       the page's address with the settings */
"use strict";

window.portrait = (() => {
  const settings = JSON.parse(document.getElementById("settings").textContent);
  const { text } = drawing;
  const element = (id) => document.getElementById(id);
  const state = { ...settings.defaults };
  let shown = null;

  // --- settings and their sliders ----------------------------------------------------------------------

  /** Different whole numbers, `count` a decade, from 1 to 10^decades. */
  const wholes = (decades, count) =>
    [...new Set(Array.from({ length: decades * count + 1 }, (_, index) => Math.round(10 ** (index / count))))];
  const nearest = (values, value) => {
    const index = values.findIndex((item) => item >= value);
    return index < 0 ? values.length - 1 : index;
  };
  const WIDTHS = [...wholes(9, 12), Infinity], DIMENSIONS = wholes(6, 24), LONGEST = settings.longest;

  const whole = (value, least, most) => Number.isInteger(value) && value >= least && value <= most;
  const fastest = () => 1.25 * mathematics.planarMap(state.dimension, state.target_norm, 1).divergence;
  const identity = { toSlider: (value) => value, fromSlider: (position) => position };

  /** What each number may be, and how its slider (0, 1, ...) turns into it. */
  const NUMBERS = {
    learning_rate: {
      accepts: (value) => value > 0 && value < Infinity, accepted: "a finite number above 0",
      toSlider: (value) => Math.max(1, Math.round((1000 * value) / fastest())),
      fromSlider: (position) => Number(((position * fastest()) / 1000).toPrecision(6)),
    },
    target_norm: {
      accepts: (value) => value >= 0 && value <= 1e100, accepted: "a number from 0 to 1e100",
      toSlider: (value) => Math.round(100 * value), fromSlider: (position) => position / 100,
    },
    dimension: {
      accepts: (value) => whole(value, 1, 2 ** 53), accepted: "a whole number of at least 1",
      toSlider: (value) => nearest(DIMENSIONS, value), fromSlider: (position) => DIMENSIONS[position],
      last: DIMENSIONS.length - 1,
    },
    width: {
      accepts: (value) => value === Infinity || whole(value, 1, 2 ** 53),
      accepted: "a whole number of at least 1, or inf",
      toSlider: (value) => nearest(WIDTHS, value), fromSlider: (position) => WIDTHS[position],
      last: WIDTHS.length - 1,
    },
    steps: {
      accepts: (value) => whole(value, 1, LONGEST), accepted: `a whole number from 1 to ${LONGEST}`,
      ...identity, last: LONGEST,
    },
    seed: {
      accepts: (value) => whole(value, 0, 2 ** 32 - 1), accepted: "a whole number from 0 to 4294967295", ...identity,
    },
  };
  const PLANES = ["state", "universal", "curvature"];

  const toNumber = (given) => (typeof given === "string" && /^\s*(inf|infinity|∞)\s*$/i.test(given) ? Infinity
    : typeof given === "string" && given.trim() === "" ? NaN : Number(given));

  /** The settings of `given`, checked; throws RangeError in one line. */
  function checked(given) {
    const result = {};
    for (const [name, value] of Object.entries(given)) {
      const known = Object.hasOwn(NUMBERS, name);
      if (name === "plane" && PLANES.includes(value)) result.plane = value;
      else if (known && NUMBERS[name].accepts(toNumber(value))) result[name] = toNumber(value);
      else {
        const accepted = name === "plane" ? PLANES.join(", ") : known ? NUMBERS[name].accepted : "no such setting";
        throw new RangeError(`${name.replace("_", " ")} is ${value}; accepted: ${accepted}`);
      }
    }
    return result;
  }

  function set(given) {
    Object.assign(state, checked(given));
    redraw();
  }

  const jsonWidth = () => (state.width === Infinity ? "inf" : state.width);
  const publicState = () => ({ ...state, width: jsonWidth() });

  // --- drawing -----------------------------------------------------------------------------------------

  /** Colours of figures/style.py for data, the page's own for the rest. */
  function theme() {
    const dark = window.matchMedia("(prefers-color-scheme: dark)").matches;
    const style = getComputedStyle(document.documentElement);
    const [blue, vermilion, green, purple, orange, sky] = settings.palette;
    const own = Object.fromEntries(["ink", "paper", "grid", "field", "faint", "forbidden"].map(
      (name) => [name, style.getPropertyValue(`--${name}`).trim()]));
    return { ...own, infinite: dark ? sky : blue, network: vermilion, stable: green, unstable: purple,
      nullcline: orange, other: dark ? blue : sky };
  }

  function compute() {
    const map = mathematics.planarMap(state.dimension, state.target_norm, state.learning_rate);
    const infinite = mathematics.planarRun(map, state.steps);
    if (state.width === Infinity) return { map, infinite, network: null };
    const start = mathematics.drawNetwork(state.seed, state.dimension, state.width);
    return { map, infinite, network: { start, ...mathematics.networkRun(start, map, state.steps) } };
  }

  function redraw() {
    const begun = performance.now();
    shown = compute();
    const { map, infinite, network } = shown, colours = theme();
    const runs = [{ run: infinite, colour: colours.infinite, label: "infinite width", line: 2.2, dots: 2.4 }];
    if (network) {
      const label = `width ${text(state.width)}`;
      runs.push({ run: network, colour: colours.network, label, line: 1.1, dots: 1.7 });
    }
    drawing.drawPortrait(element("plane-picture"), state.plane, map, runs, colours);
    drawing.drawCurves(element("loss-picture"), {
      runs, quantity: "loss", steps: state.steps, label: "loss |w − w*|²/2", theme: colours,
      logarithmic: true, limits: drawing.lossLimits(runs),
    });
    const edge = 2 / state.learning_rate;
    drawing.drawCurves(element("sharpness-picture"), {
      runs, quantity: "sharpness", steps: state.steps, label: "sharpness λmax(H)", theme: colours,
      logarithmic: false, limits: drawing.sharpnessLimits(runs, edge),
      levels: [{ name: "edge of stability, 2/η₀", value: edge, colour: colours.ink }],
    });
    showControls(map);
    showStatus(map, infinite, network);
    shown.redraw_ms = performance.now() - begun;
    element("speed").textContent = `${shown.redraw_ms.toFixed(1)} ms`;
    rememberSoon();
  }

  // --- what the page says ------------------------------------------------------------------------------

  function showControls(map) {
    for (const [name, { toSlider }] of Object.entries(NUMBERS)) {
      const slider = element(`${name}-slider`), box = element(name), value = state[name];
      const written = value === Infinity ? "inf" : String(value);
      if (slider) {
        slider.value = toSlider(value);
        slider.setAttribute("aria-valuetext", written);
      }
      if (toNumber(box.value) !== value) box.value = written;
      box.removeAttribute("aria-invalid");
    }
    for (const name of PLANES) element(`plane-${name}`).checked = state.plane === name;
    for (const button of document.querySelectorAll("[data-edge]")) button.disabled = !(map.edge < Infinity);
    element("relative").textContent = map.edge < Infinity
      ? `μ = η₀|w*|/√D = ${text(map.mu)} times the edge ${text(map.edge)}`
      : "μ = 0: a zero target has no edge";
    element("problem").textContent = "";
  }

  function fate(run, map) {
    if (run.diverged_step >= 0) return `diverges, beyond 10¹⁰⁰ at step ${run.diverged_step}`;
    const last = state.steps;
    return `loss ${text(run.loss[last], 3)} and sharpness ${text(run.sharpness[last])} after ${last} ` +
      `step${last > 1 ? "s" : ""}, ${text((run.sharpness[last] * map.rate) / 2, 3)} of 2/\u2060η₀`;
  }

  function regime({ mu, rate, edge, divergence, kappa, s, highestStable }) {
    if (rate > divergence) return `beyond divergence (η₀ = ${text(divergence)})`;
    if (!(edge < Infinity)) return `below divergence (η₀ = ${text(divergence)})`;
    const where = mu >= 1 ? "at or beyond the edge: no minimizer is stable"
      : highestStable > kappa * s ? "below the edge: some minimizers are stable"
      : "below the edge, but no minimizer is stable across the target: finite networks leave this orbit";
    return `${where}; orbits from initialisation stay bounded up to η₀ = ${text(divergence)}`;
  }

  function showStatus(map, infinite, network) {
    element("regime").textContent = `η₀ = ${text(map.rate)} is ${regime(map)}.`;
    element("infinite-fate").textContent = `Infinite width: ${fate(infinite, map)}.`;
    element("network-fate").textContent = network
      ? `Width ${text(state.width, 10)}, seed ${state.seed}: ${fate(network, map)}.`
      : "The network is infinitely wide.";
    const named = { state: "(a, p)", universal: "(x, y)", curvature: "(λmax(G), λmax(R))" }[state.plane];
    const words = ["regime", "infinite-fate", "network-fate"].map((id) => element(id).textContent).join(" ");
    element("plane-picture").setAttribute("aria-label", `Phase portrait in the plane ${named}. ${words}`);
  }

  // --- link and picture --------------------------------------------------------------------------------

  function link() {
    const query = new URLSearchParams(publicState());
    return `${window.location.href.split("#")[0]}#${query}`;
  }

  let remembering = 0;
  /** Put the settings into the address once they have been left alone: browsers limit how often one may. */
  function rememberSoon() {
    window.clearTimeout(remembering);
    remembering = window.setTimeout(() => window.history.replaceState(null, "", link()), 250);
  }

  /** Settings from the address; what cannot be used is said and left out. */
  function recall() {
    const problems = [];
    for (const [name, value] of new URLSearchParams(window.location.hash.slice(1))) {
      try {
        Object.assign(state, checked({ [name]: value }));
      } catch (error) {
        problems.push(error.message);
      }
    }
    redraw();
    if (problems.length) element("problem").textContent = `In the link: ${problems.join("; ")}`;
  }

  async function copyLink() {
    const field = element("link");
    field.value = link();
    field.hidden = false;
    field.select();
    try {
      await navigator.clipboard.writeText(field.value);
      element("done").textContent = "Link copied.";
    } catch {
      element("done").textContent = document.execCommand("copy") ? "Link copied." : "Copy the link below.";
    }
  }

  function picture() {
    const panels = ["plane-picture", "loss-picture", "sharpness-picture"].map(element);
    const ratio = window.devicePixelRatio || 1, colours = theme(), strip = 30 * ratio, [left, upper, lower] = panels;
    const canvas = document.createElement("canvas");
    canvas.width = left.width + Math.max(upper.width, lower.width);
    canvas.height = Math.max(left.height, upper.height + lower.height) + strip;
    const pen = canvas.getContext("2d");
    pen.fillStyle = colours.paper;
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.drawImage(left, 0, strip);
    pen.drawImage(upper, left.width, strip);
    pen.drawImage(lower, left.width, strip + upper.height);
    pen.fillStyle = colours.ink;
    pen.font = `${13 * ratio}px system-ui, sans-serif`;
    const width = state.width === Infinity ? "∞" : state.width;
    pen.fillText(`η₀ = ${text(state.learning_rate)}   |w*| = ${text(state.target_norm)}   ` +
      `D = ${state.dimension}   N = ${width}   seed ${state.seed}   μ = ${text(shown.map.mu)}`, 10 * ratio, 20 * ratio);
    return canvas;
  }

  function savePicture() {
    picture().toBlob((blob) => {
      const anchor = document.createElement("a");
      anchor.href = URL.createObjectURL(blob);
      anchor.download = "portrait.png";
      anchor.click();
      window.setTimeout(() => URL.revokeObjectURL(anchor.href), 1000);
      element("done").textContent = "Picture saved.";
    });
  }

  // --- events ------------------------------------------------------------------------------------------

  function setFromBox(name) {
    try {
      set({ [name]: element(name).value });
    } catch (error) {
      element(name).setAttribute("aria-invalid", "true");
      element("problem").textContent = error.message;
    }
  }

  function listen() {
    for (const [name, { fromSlider, last }] of Object.entries(NUMBERS)) {
      const slider = element(`${name}-slider`);
      if (slider) {
        if (last) slider.max = last;
        slider.addEventListener("input", () => set({ [name]: fromSlider(Number(slider.value)) }));
      }
      element(name).addEventListener("change", () => setFromBox(name));
    }
    for (const name of PLANES) element(`plane-${name}`).addEventListener("change", () => set({ plane: name }));
    for (const button of document.querySelectorAll("[data-edge]")) {
      button.addEventListener("click", () =>
        set({ learning_rate: Number((button.dataset.edge * shown.map.edge).toPrecision(6)) }));
    }
    element("reseed").addEventListener("click", () => set({ seed: (state.seed + 1) % 2 ** 32 }));
    element("reset").addEventListener("click", () => set(settings.defaults));
    element("save").addEventListener("click", savePicture);
    element("copy").addEventListener("click", copyLink);
    window.addEventListener("resize", redraw);
    window.addEventListener("hashchange", recall);
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  }

  // --- what scripts see --------------------------------------------------------------------------------

  const plain = (values) => Array.from(values, (value) => (Number.isFinite(value) ? value : null));
  const plainRows = (rows) => rows.map((row) => Array.from(row));

  function plainRun(run) {
    if (run === null) return null;
    return Object.fromEntries(Object.entries(run).map(([name, value]) =>
      [name, name === "start" ? plainRows(value) : name === "diverged_step" ? value : plain(value)]));
  }

  function data() {
    const { map, infinite, network, redraw_ms } = shown;
    return {
      state: publicState(), mu: map.mu, edge: map.edge < Infinity ? map.edge : "inf", divergence: map.divergence,
      highest_stable: map.highestStable,
      infinite: plainRun(infinite), network: plainRun(network), redraw_ms,
    };
  }

  const network = (seed, dimension, width) => {
    const wanted = checked({ seed, dimension, width });
    if (wanted.width === Infinity) throw new RangeError("width is inf; accepted: a whole number of at least 1");
    return plainRows(mathematics.drawNetwork(wanted.seed, wanted.dimension, wanted.width));
  };

  state.width = toNumber(state.width);
  listen();
  recall();
  return Object.freeze({ state: publicState, set, data, network, picture, link });
})();
