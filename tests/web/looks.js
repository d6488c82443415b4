/**
 * A page in, what is wrong with how it can be seen and heard out: names, labels, landmarks, ids,
 * headings, contrast. Run by the tests in the page itself.
 */
() => {
  const faults = [];
  const isShown = (element) => element.checkVisibility({ checkVisibilityCSS: true });
  const tell = (element, what) =>
    faults.push(`${what}: ${element.localName}.${element.getAttribute("class") ?? ""} ${element.textContent.trim().slice(0, 40)}`);

  const nameOf = (element) => {
    const by = element.getAttribute("aria-labelledby");
    if (by) return by.split(" ").map((id) => document.getElementById(id)?.textContent ?? "").join(" ").trim();
    const own = element.getAttribute("aria-label");
    if (own) return own.trim();
    if (element.labels?.length) return [...element.labels].map((label) => label.textContent).join(" ").trim();
    return element.textContent.trim();
  };

  const pressable = "a[href], button, input, select, textarea, summary, [tabindex='0'], [role=img], table, nav";
  for (const element of document.querySelectorAll(pressable)) {
    if (isShown(element) && nameOf(element) === "") tell(element, "has no name");
  }
  for (const image of document.querySelectorAll("img")) {
    if (!image.hasAttribute("alt")) tell(image, "has no alt");
  }
  for (const picture of document.querySelectorAll("svg")) {
    const isNamed = picture.getAttribute("role") === "img" && picture.hasAttribute("aria-label");
    if (picture.getAttribute("aria-hidden") !== "true" && !isNamed) tell(picture, "is neither named nor hidden");
  }
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  for (const id of new Set(ids.filter((each, index) => ids.indexOf(each) !== index))) faults.push(`twice: #${id}`);
  for (const kind of ["header", "main", "footer"]) {
    if (document.querySelectorAll(`body > ${kind}`).length !== 1) faults.push(`not one ${kind}`);
  }
  if (!document.documentElement.lang) faults.push("no language");
  if (document.title === "") faults.push("no title");

  const headings = [...document.querySelectorAll("h1, h2, h3")].filter(isShown);
  if (headings.filter((each) => each.localName === "h1").length !== 1) faults.push("not one h1");
  if (headings[0]?.localName !== "h1") faults.push("the first heading is no h1");

  for (const [kind, parents] of [["li", ["UL", "OL"]], ["dt", ["DIV", "DL"]], ["th", ["TR"]]]) {
    for (const each of document.querySelectorAll(kind)) {
      if (!parents.includes(each.parentElement.tagName)) tell(each, "is out of place");
    }
  }
  for (const head of document.querySelectorAll("th")) {
    if (!head.hasAttribute("scope")) tell(head, "has no scope");
  }

  // --- contrast, WCAG 2.2, 1.4.3 ---

  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const channels = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].map((each) => each / 255);
  };
  const over = (top, below) => {
    const alpha = top[3];
    return [0, 1, 2].map((i) => top[i] * alpha + below[i] * (1 - alpha)).concat(1);
  };
  const ground = (element) => {
    const layers = [];
    for (let each = element; each; each = each.parentElement) {
      layers.push(channels(getComputedStyle(each).backgroundColor));
    }
    return layers.reduceRight((below, top) => over(top, below), [1, 1, 1, 1]);
  };
  const luminance = (color) => {
    const [r, g, b] = color.map((each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = new Set();
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (node.textContent.trim() === "" || !isShown(element) || seen.has(element)) continue;
    if (element.closest("[aria-disabled=true], :disabled, .unseen, .skip, title, script")) continue;
    seen.add(element);
    const style = getComputedStyle(element);
    const below = ground(element);
    const ink = element.closest("svg") ? style.fill : style.color;
    const [one, other] = [luminance(over(channels(ink), below)), luminance(below)].sort((a, b) => b - a);
    const isLarge = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
    const ratio = (one + 0.05) / (other + 0.05);
    if (ratio < (isLarge ? 3 : 4.5)) tell(element, `contrast ${ratio.toFixed(2)}`);
  }
  return faults;
}
