// The renderer on a graphics card, in WebGL 2 by hand: what is not selected, then what is, each into a layer of its own that is laid on the canvas.
// A layer holds colors ("highest": points are painted in ascending order), or sums and weights of values that a second pass divides.
import { arrange, fullCount, type Painted, type Renderer, type Shade, type View } from "./renderer";

const MODES = { highest: 0, mean: 1, count: 2 };
const NONE = -3e38; // stands for NaN, which shaders need not know

const POINTS = `#version 300 es
in vec2 place;
in float value;
uniform vec2 center, scale, range;
uniform float size;
uniform int mode;
uniform sampler2D palette;
uniform vec3 without;
out vec4 own;
void main() {
  gl_Position = vec4((place - center) * scale, 0.0, 1.0);
  gl_PointSize = size + 1.0;
  bool isNone = value < -2e38;
  float at = clamp((value - range.x) / (range.y - range.x), 0.0, 1.0);
  if (mode == 0) own = isNone ? vec4(without, 1.0) : vec4(texelFetch(palette, ivec2(int(at * 255.0 + 0.5), 0), 0).rgb, 1.0);
  else if (mode == 1) own = isNone ? vec4(0.0, 0.0, 1.0, 1.0) : vec4((value - range.x) / (range.y - range.x), 1.0, 0.0, 1.0);
  else own = vec4(0.0, 1.0, 0.0, 1.0);
}`;

const DISC = `#version 300 es
precision highp float;
in vec4 own;
uniform float size;
uniform int mode;
out vec4 color;
void main() {
  float cover = size < 2.0 ? 1.0 : clamp(size * 0.5 + 0.5 - length(gl_PointCoord - 0.5) * (size + 1.0), 0.0, 1.0);
  if (cover < 0.1) discard;
  color = own * cover;
}`;

const CORNERS = `#version 300 es
void main() { gl_Position = vec4(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0, 0.0, 1.0); }`;

const RESOLVE = `#version 300 es
precision highp float;
uniform sampler2D layer, palette;
uniform vec3 without;
uniform float full, opacity;
uniform int mode;
out vec4 color;
void main() {
  vec4 held = texelFetch(layer, ivec2(gl_FragCoord.xy), 0);
  if (mode == 0) { color = held * opacity; return; }
  float at = mode == 1 ? held.x / held.y : log(1.0 + held.y) / log(1.0 + full);
  vec3 own = held.y > 0.0 ? texelFetch(palette, ivec2(int(clamp(at, 0.0, 1.0) * 255.0 + 0.5), 0), 0).rgb : without;
  float alpha = min(1.0, max(held.y, held.z)) * opacity;
  color = vec4(own * alpha, alpha);
}`;

function program(gl: WebGL2RenderingContext, vertex: string, fragment: string) {
  const made = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]] as const) {
    const shader = gl.createShader(kind)!;
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(made, shader);
  }
  gl.bindAttribLocation(made, 0, "place");
  gl.bindAttribLocation(made, 1, "value");
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(`WebGL: ${gl.getProgramInfoLog(made)}`);
  return { made, at: (name: string) => gl.getUniformLocation(made, name) };
}

/** A renderer on a canvas, or null where the card cannot add floats; `onFrame` hears which view has come to the screen. */
export function glRenderer(canvas: HTMLCanvasElement, onFrame: (view: View) => void): Renderer | null {
  const gl = canvas.getContext("webgl2", { antialias: false, depth: false, premultipliedAlpha: true, preserveDrawingBuffer: true });
  if (!gl || !gl.getExtension("EXT_color_buffer_float")) return null;
  const canAddFloats = gl.getExtension("EXT_float_blend") !== null; // else halves, which count to 2048
  const points = program(gl, POINTS, DISC);
  const resolve = program(gl, CORNERS, RESOLVE);
  const [palette, layer] = [gl.createTexture(), gl.createTexture()];
  const target = gl.createFramebuffer();
  const [places, values] = [gl.createBuffer(), gl.createBuffer()];
  const drawing = gl.createVertexArray();
  const empty = gl.createVertexArray();
  let painted: Painted | null = null;
  let shade: Shade | null = null;
  let layerIs = ""; // size and kind of the layer now
  let milliseconds = 0;
  let asked = 0;
  let wanted: View | null = null;

  gl.bindVertexArray(drawing);
  [places, values].forEach((buffer, at) => {
    gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
    gl.enableVertexAttribArray(at);
    gl.vertexAttribPointer(at, at === 0 ? 2 : 1, gl.FLOAT, false, 0, 0);
  });
  for (const [at, texture] of [palette, layer].entries()) {
    gl.activeTexture(gl.TEXTURE0 + at);
    gl.bindTexture(gl.TEXTURE_2D, texture);
    for (const name of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, name, gl.NEAREST);
    for (const name of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, name, gl.CLAMP_TO_EDGE);
  }

  function fitLayer(width: number, height: number, isColor: boolean): void {
    const is = `${width} ${height} ${isColor}`;
    if (is === layerIs) return;
    layerIs = is;
    gl!.activeTexture(gl!.TEXTURE1);
    if (isColor) gl!.texImage2D(gl!.TEXTURE_2D, 0, gl!.RGBA8, width, height, 0, gl!.RGBA, gl!.UNSIGNED_BYTE, null);
    else if (canAddFloats) gl!.texImage2D(gl!.TEXTURE_2D, 0, gl!.RGBA32F, width, height, 0, gl!.RGBA, gl!.FLOAT, null);
    else gl!.texImage2D(gl!.TEXTURE_2D, 0, gl!.RGBA16F, width, height, 0, gl!.RGBA, gl!.HALF_FLOAT, null);
    gl!.bindFramebuffer(gl!.FRAMEBUFFER, target);
    gl!.framebufferTexture2D(gl!.FRAMEBUFFER, gl!.COLOR_ATTACHMENT0, gl!.TEXTURE_2D, layer, 0);
  }

  function render(gl: WebGL2RenderingContext, view: View): void {
    const width = Math.round(view.width * view.ratio);
    const height = Math.round(view.height * view.ratio);
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    gl.viewport(0, 0, width, height);
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    if (!painted || !shade) return;
    const mode = MODES[shade.overlap];
    const without = shade.without.map((part) => part / 255) as [number, number, number];
    fitLayer(width, height, mode === 0);
    gl.enable(gl.BLEND);
    for (const [from, to, opacity] of [[0, painted.nBelow, shade.dimmed], [painted.nBelow, painted.n, 1]]) {
      if (to === from) continue;
      gl.bindFramebuffer(gl.FRAMEBUFFER, target);
      gl.clear(gl.COLOR_BUFFER_BIT);
      gl.blendFunc(gl.ONE, mode === 0 ? gl.ONE_MINUS_SRC_ALPHA : gl.ONE);
      gl.useProgram(points.made);
      gl.bindVertexArray(drawing);
      gl.uniform2f(points.at("center"), view.camera.x, view.camera.y);
      gl.uniform2f(points.at("scale"), (2 * view.camera.kx) / view.width, (2 * view.camera.ky) / view.height);
      gl.uniform2f(points.at("range"), shade.low, shade.high > shade.low ? shade.high : shade.low + 1);
      gl.uniform1f(points.at("size"), view.size * view.ratio < 1.6 ? 0 : view.size * view.ratio);
      gl.uniform1i(points.at("mode"), mode);
      gl.uniform1i(points.at("palette"), 0);
      gl.uniform3f(points.at("without"), ...without);
      gl.drawArrays(gl.POINTS, from, to - from);
      gl.bindFramebuffer(gl.FRAMEBUFFER, null);
      gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
      gl.useProgram(resolve.made);
      gl.bindVertexArray(empty);
      gl.uniform1i(resolve.at("layer"), 1);
      gl.uniform1i(resolve.at("palette"), 0);
      gl.uniform1i(resolve.at("mode"), mode);
      gl.uniform1f(resolve.at("opacity"), opacity);
      gl.uniform1f(resolve.at("full"), fullCount(shade, view));
      gl.uniform3f(resolve.at("without"), ...without);
      gl.drawArrays(gl.TRIANGLES, 0, 3);
    }
  }

  function frame(): void {
    asked = 0;
    if (!wanted) return;
    const start = performance.now();
    render(gl!, wanted);
    milliseconds = performance.now() - start;
    onFrame(wanted);
  }

  return {
    kind: "gl",
    get milliseconds() {
      return milliseconds;
    },
    setScene(scene) {
      painted = arrange(scene);
      const both = new Float32Array(2 * painted.n);
      for (let i = 0; i < painted.n; i++) {
        both[2 * i] = painted.x[i];
        both[2 * i + 1] = painted.y[i];
      }
      gl.bindBuffer(gl.ARRAY_BUFFER, places);
      gl.bufferData(gl.ARRAY_BUFFER, both, gl.STATIC_DRAW);
      gl.bindBuffer(gl.ARRAY_BUFFER, values);
      gl.bufferData(gl.ARRAY_BUFFER, painted.values.map((value) => (Number.isNaN(value) ? NONE : value)), gl.STATIC_DRAW);
    },
    setShade(next) {
      shade = next;
      gl.activeTexture(gl.TEXTURE0);
      gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, shade.palette);
    },
    draw(view) {
      wanted = view;
      asked ||= requestAnimationFrame(frame);
    },
    async picture(view) {
      render(gl, view);
      const made = await createImageBitmap(canvas);
      if (wanted) render(gl, wanted);
      return made;
    },
    destroy() {
      cancelAnimationFrame(asked);
      gl.getExtension("WEBGL_lose_context")?.loseContext();
    },
  };
}
