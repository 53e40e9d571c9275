"""Generated images, so that training needs no download: scenes are drawn on sheets, and sheets are cropped."""
