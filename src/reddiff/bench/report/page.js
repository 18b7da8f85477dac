"use strict";
{
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Selections: a card is shown where its data agree with all of them.
  const selects = all("select[data-key]");
  const select = () => {
    for (const card of all(".card")) {
      card.hidden = selects.some(({ dataset, value }) => {
        const own = card.dataset[dataset.key];
        return own !== undefined && own !== value;
      });
    }
    for (const section of all("section")) {
      section.hidden = !all(".card, .scroll, .note", section).some((part) => !part.hidden);
    }
  };
  for (const one of selects) one.addEventListener("change", select);
  select();

  // The legend: one solver stands out in all figures and strips.
  const keys = all(".key");
  const light = (index) => {
    document.body.classList.toggle("dimmed", index !== null);
    for (const part of all(".point, .thumb[data-solver]")) {
      part.classList.toggle("lit", part.dataset.solver === index);
    }
    for (const key of keys) key.setAttribute("aria-pressed", String(key.dataset.solver === index));
  };
  for (const key of keys) {
    key.addEventListener("click", () => {
      light(key.getAttribute("aria-pressed") === "true" ? null : key.dataset.solver);
    });
  }

  // The pointer enlarges the same place of all pictures of a strip.
  for (const strip of all(".strip")) {
    strip.addEventListener("pointermove", (event) => {
      const lens = event.target.closest(".lens");
      strip.classList.toggle("zoomed", lens !== null && event.pointerType === "mouse");
      if (lens === null) return;
      const box = lens.getBoundingClientRect();
      strip.style.setProperty("--x", `${(100 * (event.clientX - box.left)) / box.width}%`);
      strip.style.setProperty("--y", `${(100 * (event.clientY - box.top)) / box.height}%`);
    });
    strip.addEventListener("pointerleave", () => strip.classList.remove("zoomed"));
  }

  // The viewer: pictures of one strip in the same place, so that changes are seen.
  const viewer = document.getElementById("viewer");
  let thumbs = [];
  let place = 0;
  const show = () => {
    const image = thumbs[place].querySelector("img");
    const large = document.getElementById("large");
    large.src = image.src;
    large.alt = image.alt;
    document.getElementById("name").value = image.alt;
  };
  const step = (by) => {
    place = (place + by + thumbs.length) % thumbs.length;
    show();
  };
  for (const thumb of all(".thumb")) {
    thumb.addEventListener("click", () => {
      thumbs = all(".thumb", thumb.closest(".strip"));
      place = thumbs.indexOf(thumb);
      show();
      viewer.showModal();
    });
  }
  for (const button of all("[data-step]", viewer)) {
    button.addEventListener("click", () => step(Number(button.dataset.step)));
  }
  viewer.addEventListener("keydown", (event) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    step(by);
  });
  viewer.addEventListener("click", (event) => {
    if (event.target === viewer) viewer.close();
  });

  // Light or dark: as the system has it, until the button or #dark in the address says otherwise.
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  if (["#dark", "#light"].includes(location.hash)) root.dataset.theme = location.hash.slice(1);
  document.getElementById("theme").addEventListener("click", () => {
    const now = root.dataset.theme ?? (dark.matches ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
  });
  root.dataset.ready = "yes";
}
