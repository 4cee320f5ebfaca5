/* The pictures of the page: axes on a canvas, the phase portrait in three planes, curves against steps. */
"use strict";

const drawing = (() => {
  const FONT = "system-ui, sans-serif";

  // --- numbers as text ---------------------------------------------------------------------------------

  const superscript = (exponent) =>
    String(exponent).replace("-", "⁻").replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]);

  /** A number in a few digits, with a power of ten where it is very large or small. */
  function text(value, digits = 4) {
    if (value === null || Number.isNaN(value)) return "–";
    if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
    if (value === 0) return "0";
    const size = Math.abs(value);
    if (size >= 1e-3 && size < 1e6) return String(Number(value.toPrecision(digits))).replace("-", "−");
    const [mantissa, exponent] = value.toExponential(digits - 1).split("e");
    const lead = String(Number(mantissa)).replace("-", "−");
    return `${lead === "1" ? "" : `${lead}·`}10${superscript(Number(exponent))}`;
  }

  /** A tick of a logarithmic axis as text. */
  function power(value) {
    const exponent = Math.round(Math.log10(value));
    const exact = Math.abs(value / 10 ** exponent - 1) < 1e-9;
    return exact && Math.abs(exponent) > 2 ? `10${superscript(exponent)}` : text(value);
  }

  /** Round numbers in [low, high], about `count` of them. */
  function linearTicks(low, high, count) {
    const raw = (high - low) / Math.max(count, 1), unit = 10 ** Math.floor(Math.log10(raw));
    const step = unit * [1, 2, 5, 10].find((factor) => factor * unit >= raw * 0.999);
    const ticks = [];
    if (!(step > 0 && step < Infinity)) return ticks;
    for (let index = Math.ceil(low / step); index * step <= high * (1 + 1e-12); index++) ticks.push(index * step);
    return ticks;
  }

  /** Powers of ten in [low, high], about `count` of them; with their halves and fifths where there are few. */
  function decades(low, high, count) {
    const [first, last] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)];
    if (last - first < 2) {
      const exponents = samples(first - 1, last, last - first + 1);
      const finer = exponents.flatMap((exponent) => [1, 2, 5].map((factor) => factor * 10 ** exponent));
      return finer.filter((value) => value >= low && value <= high);
    }
    const stride = Math.max(1, Math.ceil((last - first + 1) / Math.max(count, 1)));
    const ticks = [];
    for (let exponent = Math.ceil(first / stride) * stride; exponent <= last; exponent += stride) {
      ticks.push(10 ** exponent);
    }
    return ticks;
  }

  // --- axes on a canvas --------------------------------------------------------------------------------

  /** Axes in a canvas: scales, ticks, labels and a legend above; draws in CSS pixels at the screen's resolution. */
  function openAxes(canvas, { limits, labels, legend, theme, logarithmic = false }) {
    const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.fillStyle = theme.paper;
    pen.fillRect(0, 0, width, height);
    const top = drawLegend(pen, legend, width, theme);
    const box = { left: 64, right: width - 18, top: top + 6, bottom: height - 42 };
    const [x0, x1, y0, y1] = limits, rise = logarithmic ? Math.log10 : (value) => value;
    const axes = {
      pen, box, theme, limits,
      x: (value) => box.left + ((value - x0) / (x1 - x0)) * (box.right - box.left),
      y: (value) => box.bottom - ((rise(value) - rise(y0)) / (rise(y1) - rise(y0))) * (box.bottom - box.top),
      fromX: (pixel) => x0 + ((pixel - box.left) / (box.right - box.left)) * (x1 - x0),
      fromY: (pixel) => y0 + ((box.bottom - pixel) / (box.bottom - box.top)) * (y1 - y0),
    };
    const room = { x: Math.floor((box.right - box.left) / 75), y: Math.floor((box.bottom - box.top) / 45) };
    axes.ticks = { x: linearTicks(x0, x1, room.x), y: (logarithmic ? decades : linearTicks)(y0, y1, room.y) };
    drawFrame(axes, labels, logarithmic);
    return axes;
  }

  function drawFrame(axes, labels, logarithmic) {
    const { pen, box, theme } = axes;
    pen.font = `12px ${FONT}`;
    pen.lineWidth = 1;
    for (const value of axes.ticks.x) {
      segment(axes, axes.x(value), box.top, axes.x(value), box.bottom, theme.grid);
      label(axes, text(value), axes.x(value), box.bottom + 15, "center");
    }
    for (const value of axes.ticks.y) {
      segment(axes, box.left, axes.y(value), box.right, axes.y(value), theme.grid);
      label(axes, logarithmic ? power(value) : text(value), box.left - 6, axes.y(value) + 4, "right");
    }
    segment(axes, box.left, box.bottom, box.right, box.bottom, theme.ink);
    segment(axes, box.left, box.top, box.left, box.bottom, theme.ink);
    label(axes, labels[0], (box.left + box.right) / 2, box.bottom + 34, "center");
    pen.save();
    pen.translate(13, (box.top + box.bottom) / 2);
    pen.rotate(-Math.PI / 2);
    label(axes, labels[1], 0, 0, "center");
    pen.restore();
  }

  function segment({ pen }, x0, y0, x1, y1, colour) {
    pen.strokeStyle = colour;
    pen.beginPath();
    pen.moveTo(x0, y0);
    pen.lineTo(x1, y1);
    pen.stroke();
  }

  function label({ pen, theme }, words, x, y, align, colour = theme.ink) {
    pen.fillStyle = colour;
    pen.textAlign = align;
    pen.fillText(words, x, y);
  }

  /** Samples with their names, in rows as the width allows; returns the height used. */
  function drawLegend(pen, entries, width, theme) {
    pen.font = `12px ${FONT}`;
    let [x, y] = [8, 15];
    for (const { name, colour, line = 2, dash = [], fill = false } of entries) {
      const needed = 30 + pen.measureText(name).width;
      if (x > 8 && x + needed > width - 8) [x, y] = [8, y + 17];
      pen.strokeStyle = pen.fillStyle = colour;
      if (fill) pen.fillRect(x, y - 9, 20, 10);
      pen.lineWidth = line;
      pen.setLineDash(dash);
      pen.beginPath();
      pen.moveTo(x, y - 4);
      pen.lineTo(x + 20, y - 4);
      if (!fill) pen.stroke();
      pen.setLineDash([]);
      pen.fillStyle = theme.ink;
      pen.textAlign = "left";
      pen.fillText(name, x + 25, y);
      x += needed + 12;
    }
    return entries.length ? y + 6 : 4;
  }

  /** Draw inside the frame only. */
  function clipped({ pen, box }, draw) {
    pen.save();
    pen.beginPath();
    pen.rect(box.left, box.top, box.right - box.left, box.bottom - box.top);
    pen.clip();
    draw();
    pen.restore();
  }

  /** A line through points; one that is missing, or far outside, breaks it. */
  function polyline(axes, points, { colour, line = 1.5, dash = [], dots = 0 }) {
    const { pen } = axes;
    const pixels = points.map((point) => (point === null ? [NaN, NaN] : [axes.x(point[0]), axes.y(point[1])]));
    const drawable = ([x, y]) => Math.abs(x) < 1e5 && Math.abs(y) < 1e5;
    pen.strokeStyle = pen.fillStyle = colour;
    pen.lineWidth = line;
    pen.setLineDash(dash);
    pen.beginPath();
    pixels.forEach((pixel, index) => {
      if (!drawable(pixel)) return;
      if (index > 0 && drawable(pixels[index - 1])) pen.lineTo(...pixel);
      else pen.moveTo(...pixel);
    });
    pen.stroke();
    pen.setLineDash([]);
    if (dots > 0) {
      pen.beginPath();
      for (const [x, y] of pixels.filter(drawable)) {
        pen.moveTo(x + dots, y);
        pen.arc(x, y, dots, 0, 2 * Math.PI);
      }
      pen.fill();
    }
  }

  // --- the three planes --------------------------------------------------------------------------------

  /** Coordinates of a plane: from (a, p) and back, labels, and what its window must hold. */
  function plane(name, map) {
    const { kappa, rate, s, c, dimension } = map;
    const reach = Math.max(kappa * s, c), flat = Math.min(1.35 / rate, 4 * reach);
    if (name === "universal") {
      return {
        to: (a, p) => [Math.sqrt(rate * Math.max(p + kappa * a, 0)), Math.sqrt(rate * Math.max(p - kappa * a, 0))],
        from: (x, y) =>
          (x < 0 || y < 0 ? null : [(x * x - y * y) / (2 * rate * kappa), (x * x + y * y) / (2 * rate)]),
        labels: ["x = √(η₀(p + κa))", "y = √(η₀(p − κa))"],
        window: [0, Math.max(2.1, 1.15 * Math.sqrt(2 * map.mu)), 0, 1.65],
        bounded: true,
        quadrant: true,
      };
    }
    if (name === "curvature") {
      return {
        to: (a, p) => [map.ntk(p), map.residual(a)],
        from: (g, rho) => {
          if (rho < 0) return null;
          const p = dimension > 1 && g < 2 * c ? g - c : g / 2, a = s - rho / kappa;
          return p >= kappa * Math.abs(a) ? [a, p] : null;
        },
        labels: ["λmax(G), largest eigenvalue of the NTK", "λmax(R) = κ|w − w*|"],
        window: [0, Math.max(3.2 * reach, 2 * flat), -0.06 * reach, 1.5 * reach],
        bounded: false,
      };
    }
    return {
      to: (a, p) => [a, p],
      from: (a, p) => (p >= kappa * Math.abs(a) ? [a, p] : null),
      labels: ["a = w·w*/|w*|, map along the target", "p, norm of the layers"],
      window: [-0.35 * Math.max(s, kappa), 1.75 * Math.max(s, kappa), 0, Math.max(1.6 * reach, flat)],
      bounded: true,
    };
  }

  /** The plane's window, widened (threefold at most) to hold the runs. */
  function fit(base, paths) {
    const [x0, x1, y0, y1] = base, limits = [...base], room = [1.2 * (x1 - x0), 1.2 * (y1 - y0)];
    for (const point of paths.flat()) {
      if (point === null) continue;
      const [x, y] = point;
      if (x >= x0 - room[0] && x <= x1 + room[0]) {
        limits[0] = Math.min(limits[0], x0 < 0 ? x - 0.03 * (x1 - x0) : x0);
        limits[1] = Math.max(limits[1], x + 0.03 * (x1 - x0));
      }
      if (y <= y1 + room[1]) limits[3] = Math.max(limits[3], y + 0.03 * (y1 - y0));
    }
    return limits;
  }

  const pathOf = (run, view) =>
    Array.from(run.a, (a, index) => (Number.isFinite(a) ? view.to(a, run.p[index]) : null));

  /** Vector field, nullclines, minimizers, edge, forbidden region and trajectories in one of the planes. */
  function drawPortrait(canvas, name, map, runs, theme) {
    const view = plane(name, map);
    const paths = runs.map(({ run }) => (name === "curvature" ? curvaturePath(run) : pathOf(run, view)));
    const limits = fit(view.window, paths);
    const legend = portraitLegend(runs, map, view, theme);
    const axes = openAxes(canvas, { limits, labels: view.labels, theme, legend });
    clipped(axes, () => {
      shadeForbidden(axes, name, map);
      drawField(axes, view, map);
      drawCurvesOfPlane(axes, view, map);
      paths.forEach((path, index) => {
        const { colour, dots, line } = runs[index];
        polyline(axes, path, { colour, line, dots });
        polyline(axes, path.slice(0, 1), { colour, dots: 5 });
      });
    });
    return axes;
  }

  const curvaturePath = (run) =>
    Array.from(run.ntk_sharpness, (g, index) => (Number.isFinite(g) ? [g, run.residual_sharpness[index]] : null));

  function portraitLegend(runs, map, view, theme) {
    return [
      ...runs.map(({ colour, label: words }) => ({ name: words, colour })),
      { name: "stable minimizers", colour: theme.stable, line: 4 },
      { name: "unstable minimizers", colour: theme.unstable, line: 4, dash: [3, 3] },
      { name: "edge along the target, p = 1/η₀", colour: theme.ink, line: 1.2, dash: [7, 4] },
      { name: "p stands still", colour: theme.nullcline, line: 1.5 },
      { name: "a stands still", colour: theme.other, line: 1.5 },
      ...(map.mu < 2 && view.bounded
        ? [{ name: "no orbit crosses", colour: theme.faint, line: 1.2, dash: [1.5, 3] }] : []),
      ...(view.quadrant ? [] : [{ name: "states no network has", colour: theme.forbidden, fill: true }]),
    ];
  }

  /** Positive semidefiniteness: p is at least kappa |a|, and of every network G at least 2 |kappa s - R|. */
  function shadeForbidden(axes, name, map) {
    if (name === "universal") return;
    const { pen, theme } = axes, [x0, x1, , y1] = axes.limits;
    const leastNtk = (rho) => 2 * Math.abs(map.kappa * map.s - rho);
    const corners = name === "state"
      ? [[x0, 0], [x0, map.kappa * Math.abs(x0)], [0, 0], [x1, map.kappa * x1], [x1, 0]]
      : [[0, 0], ...samples(0, y1, 200).map((rho) => [leastNtk(rho), rho]), [0, y1]];
    pen.fillStyle = theme.forbidden;
    pen.beginPath();
    corners.forEach(([x, y]) => pen.lineTo(axes.x(x), axes.y(y)));
    pen.fill();
  }

  /** count + 1 numbers from `low` to `high`, equally far apart. */
  const samples = (low, high, count) =>
    Array.from({ length: count + 1 }, (_, index) => low + ((high - low) * index) / count);

  /** An arrow along one step at every point of a grid; longer and darker where the step is larger. */
  function drawField(axes, view, map) {
    const { pen, box, theme } = axes, spacing = 24;
    pen.strokeStyle = theme.field;
    pen.lineWidth = 1;
    for (let px = box.left + spacing / 2; px < box.right; px += spacing) {
      for (let py = box.top + spacing / 2; py < box.bottom; py += spacing) {
        const point = view.from(axes.fromX(px), axes.fromY(py));
        if (point === null) continue;
        const [x, y] = view.to(...map.step(...point));
        const dx = axes.x(x) - px, dy = axes.y(y) - py, size = Math.hypot(dx, dy);
        if (size > 1e-9 && size < Infinity) drawArrow(pen, px, py, dx / size, dy / size, size / (size + spacing));
      }
    }
    pen.globalAlpha = 1;
  }

  /** An arrow centred on a pixel, of a direction and a strength from 0 to 1. */
  function drawArrow(pen, x, y, dx, dy, strength) {
    const half = 3 + 7 * strength, head = 2.5 + 1.5 * strength, tip = [x + half * dx, y + half * dy];
    pen.globalAlpha = 0.45 + 0.55 * strength;
    pen.beginPath();
    pen.moveTo(x - half * dx, y - half * dy);
    pen.lineTo(...tip);
    pen.moveTo(tip[0] - head * (dx + 0.6 * dy), tip[1] - head * (dy - 0.6 * dx));
    pen.lineTo(...tip);
    pen.lineTo(tip[0] - head * (dx - 0.6 * dy), tip[1] - head * (dy + 0.6 * dx));
    pen.stroke();
  }

  /** Nullclines, the edge, the boundary that no orbit crosses, and the minimizers. */
  function drawCurvesOfPlane(axes, view, map) {
    const { theme } = axes, { kappa, rate, s, mu } = map;
    const far = 6 * Math.max(s, kappa, 1 / (rate * kappa));
    const exists = (a, p) => p >= kappa * Math.abs(a) && p < Infinity;
    // denser near the start, since the edge may be far off
    const scale = 0.01 * Math.max(s, kappa), reach = Math.asinh(far / scale);
    const wide = samples(-reach, reach, 1200).map((t) => scale * Math.sinh(t));
    const curve = (p, along = wide) => along.map((a) => (exists(a, p(a)) ? view.to(a, p(a)) : null));
    polyline(axes, curve((a) => (rate * map.c * a * (a - s)) / 2), { colour: theme.other });
    polyline(axes, curve((a) => (2 * a) / (rate * (a - s))), { colour: theme.nullcline });
    const edge = 1 / rate;
    const level = samples(-edge / kappa, edge / kappa, 400);
    polyline(axes, curve(() => edge, level), { colour: theme.ink, line: 1.2, dash: [7, 4] });
    if (mu < 2 && view.bounded) {
      const bound = (a) => (4 - mu * mu + mu * rate * kappa * a) / (2 * rate);
      const along = samples(-(2 - mu) / (rate * kappa), (2 + mu) / (rate * kappa), 400);
      polyline(axes, curve(bound, along), { colour: theme.faint, line: 1.2, dash: [1.5, 3] });
    }
    const lowest = kappa * s, highest = map.highestStable;
    const top = Math.max(edge, lowest) + 20 * Math.max(edge, lowest, map.c);
    const minimizers = (low, high) =>
      samples(Math.sqrt(low), Math.sqrt(high), 300).map((root) => view.to(s, root * root));
    if (highest > lowest) polyline(axes, minimizers(lowest, highest), { colour: theme.stable, line: 4 });
    polyline(axes, minimizers(Math.max(highest, lowest), top), { colour: theme.unstable, line: 4, dash: [3, 3] });
  }

  // --- curves against steps ----------------------------------------------------------------------------

  /** The runs' curves of one quantity against steps; `levels` are dashed lines across. */
  function drawCurves(canvas, { runs, quantity, steps, label: words, theme, logarithmic, levels = [], limits }) {
    const legend = [
      ...runs.map(({ colour, label: name }) => ({ name, colour })),
      ...levels.map(({ name, colour }) => ({ name, colour, line: 1.2, dash: [7, 4] })),
    ];
    const labels = ["step", words];
    const axes = openAxes(canvas, { limits: [0, steps, ...limits], labels, legend, theme, logarithmic });
    clipped(axes, () => {
      for (const { value, colour } of levels) {
        polyline(axes, [[0, value], [steps, value]], { colour, line: 1.2, dash: [7, 4] });
      }
      for (const { run, colour, dots, line } of runs) {
        const points = Array.from(run[quantity], (value, step) =>
          (Number.isFinite(value) && (value > 0 || !logarithmic) ? [step, value] : null));
        polyline(axes, points, { colour, line, dots: steps > 150 ? 0 : dots });
        if (run.diverged_step >= 0) markDivergence(axes, run.diverged_step, colour);
      }
    });
    return axes;
  }

  /** A cross at the top of the frame, at the step from which there is nothing to draw. */
  function markDivergence(axes, step, colour) {
    const x = axes.x(step), y = axes.box.top + 8;
    axes.pen.lineWidth = 2;
    segment(axes, x - 5, y - 5, x + 5, y + 5, colour);
    segment(axes, x - 5, y + 5, x + 5, y - 5, colour);
  }

  /** Limits of a logarithmic axis for losses: all of them, but no more than a divergence's first decades. */
  function lossLimits(runs) {
    const values = runs.flatMap(({ run }) => Array.from(run.loss)).filter((loss) => loss > 0 && loss < Infinity);
    const starts = runs.map(({ run }) => run.loss[0]).filter((loss) => loss > 0);
    const first = starts.length ? Math.max(...starts) : 1;
    const high = values.reduce((most, loss) => Math.max(most, loss), first);
    const low = values.reduce((least, loss) => Math.min(least, loss), first);
    return [Math.max(Math.min(low, 0.5 * first), 1e-34 * first) / 2, Math.min(high, 1e6 * first) * 2];
  }

  /** Limits of the sharpness axis: from zero to what holds the edge and the bounded part of the runs. */
  function sharpnessLimits(runs, edge) {
    let high = 0;
    for (const { run } of runs) {
      for (const value of run.sharpness) if (value < 4 * edge) high = Math.max(high, value);
    }
    return [0, 1.12 * (edge < 8 * high || high === 0 ? Math.max(high, edge) : high)];
  }

  return { text, plane, drawPortrait, drawCurves, lossLimits, sharpnessLimits };
})();
